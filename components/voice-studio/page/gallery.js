// The gallery: every picture as a tile that can be chosen, downloaded and taken down. Shows what it is given, newest first;
// what a press does is the caller's.

import { byId, element, icon } from "./dom.js";
import { say } from "./words.js";

/** `onChoose(image)` and `onRemove(image)` are called for presses. */
export function showGallery(images, current, { onChoose, onRemove }) {
  const focused = document.activeElement?.closest(".tile")?.dataset.name;
  byId("tiles").replaceChildren(...images.map((image) => tile(image, image.name === current, onChoose, onRemove)));
  byId("count").textContent = images.length ? say("count", { n: images.length }) : "";
  // the list is made anew; who was in it stays there
  if (focused) byId("tiles").querySelector(`[data-name="${CSS.escape(focused)}"] button`)?.focus();
}

function tile(image, isCurrent, onChoose, onRemove) {
  const { prompt } = image;
  const picture = element("img", { src: image.thumbnail, alt: "", loading: "lazy", width: 160, height: 160 });
  const label = say("select", { prompt });
  const pick = { type: "button", class: "pick", "aria-label": label, "aria-current": isCurrent && "true", title: prompt, onclick: () => onChoose(image) };
  const download = { class: "round small", href: `${image.url}?download`, download: image.name, "aria-label": say("download_of", { prompt }) };
  const remove = { type: "button", class: "round small", "aria-label": say("remove_of", { prompt }), onclick: () => onRemove(image) };
  return element("li", { class: "tile", "data-name": image.name },
    element("button", pick, picture),
    element("div", { class: "tile-tools" }, element("a", download, icon("download")), element("button", remove, icon("remove"))));
}
