// How pictures came from one another: rows of a tree with drawn branches. One thing for eyes and for screen readers: a flat
// list with the role of a tree, each row with its level, and lines drawn behind. Knows nothing of the server.

import { byId, drawn, element } from "./dom.js";
import { moment, say, sentence } from "./words.js";

// the same as in panel.css: rows are of one height, so that lines need no measuring
const ROW_PX = 76;
const LANE_PX = 28;
const THUMB_PX = 52;
const BEND_PX = 14;
// a narrow panel has no room for more; deeper branches are drawn over one another, their levels are still told
const LANES_MAX = 6;

/** Rows in the order in which they are drawn: `{ image, parent, row, lane, level }`, `parent` a row or null. */
export function arrange(images) {
  const names = new Set(images.map((image) => image.name));
  const children = Map.groupBy(images, (image) => (names.has(image.parent) ? image.parent : null));
  const oldestFirst = (list = []) => list.toSorted((one, other) => (one.created + one.name < other.created + other.name ? -1 : 1));
  const rows = [];
  // a stack instead of recursion: a line of edits may be thousands long. What is pushed last is drawn first
  const waiting = oldestFirst(children.get(null)).map((image) => ({ image, parent: null, lane: 0, level: 1 }));
  while (waiting.length) {
    const entry = waiting.pop();
    entry.row = rows.push(entry) - 1;
    // the newest change goes straight on below; the others branch off before it
    const below = oldestFirst(children.get(entry.image.name)).reverse();
    waiting.push(...below.map((image, index) => ({ image, parent: entry, lane: entry.lane + (index > 0), level: entry.level + 1 })));
  }
  return rows;
}

export function showTree(images, current, onChoose) {
  const rows = arrange(images);
  const focused = document.activeElement?.closest?.("[role=treeitem]")?.dataset.name;
  const inOrder = rows.find((row) => row.image.name === (focused ?? current)) ?? rows[0];
  const items = rows.map((row) => item(row, current, row === inOrder, onChoose));
  byId("rows").replaceChildren(...items);
  const lines = byId("lines");
  lines.setAttribute("height", rows.length * ROW_PX);
  const way = ancestry(rows.find((row) => row.image.name === current));
  // the way to the current picture is drawn last, over the others
  const branches = rows.filter((row) => row.parent).sort((one, other) => way.has(one) - way.has(other));
  lines.replaceChildren(...branches.map((row) => drawn("path", { d: line(row.parent, row), class: way.has(row) && "way" })));
  byId("rows").onkeydown = (event) => walk(event, rows);
  if (focused) items[inOrder.row].focus();
}

function item({ image, parent, lane, level }, current, isInOrder, onChoose) {
  const isCurrent = image.name === current;
  const title = sentence(image.prompt);
  const label = [title, parent && say("from", { prompt: parent.image.prompt }), isCurrent && say("current")].filter(Boolean).join(", ");
  const attributes = {
    role: "treeitem", class: "branch", "data-name": image.name, "data-action": image.action, "aria-level": level,
    "aria-selected": String(isCurrent), "aria-label": label, tabindex: isInOrder ? 0 : -1, onclick: () => onChoose(image),
  };
  const node = element("li", attributes,
    element("img", { src: image.thumbnail, alt: "", loading: "lazy", width: THUMB_PX, height: THUMB_PX }),
    element("span", { class: "branch-text" }, element("span", { class: "branch-title" }, title),
      element("span", { class: "branch-facts" }, say(`facts_${image.action}`, { time: moment(image.created) }))));
  node.style.setProperty("--lane", Math.min(lane, LANES_MAX));
  return node;
}

/** A row, its parent, and so on up. */
function ancestry(row) {
  const way = new Set();
  for (let at = row; at; at = at.parent) way.add(at);
  return way;
}

/** From under the parent's thumbnail straight down, and with a bend where the row branches off. */
function line(parent, row) {
  const x = (lane) => Math.min(lane, LANES_MAX) * LANE_PX;
  const trunk = x(parent.lane) + LANE_PX / 2;
  const top = parent.row * ROW_PX + (ROW_PX + THUMB_PX) / 2;
  const middle = row.row * ROW_PX + ROW_PX / 2;
  if (x(row.lane) === x(parent.lane)) return `M${trunk} ${top}V${middle}`;
  return `M${trunk} ${top}V${middle - BEND_PX}q0 ${BEND_PX} ${BEND_PX} ${BEND_PX}H${x(row.lane)}`;
}

/** The keys of a tree: up and down, left to the parent, right to the first change, ENTER or SPACE to choose. */
function walk(event, rows) {
  const items = [...byId("rows").children];
  const at = items.indexOf(event.target.closest("[role=treeitem]"));
  if (at < 0) return;
  const to = {
    ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1,
    ArrowLeft: rows[at].parent?.row, ArrowRight: rows.findIndex((row) => row.parent === rows[at]),
  }[event.key];
  if (event.key === "Enter" || event.key === " ") items[at].click();
  else if (to === undefined) return;
  event.preventDefault();
  if (!items[to]) return;
  items[at].tabIndex = -1;
  items[to].tabIndex = 0;
  items[to].focus();
}
