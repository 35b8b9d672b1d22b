// The wall: the present picture in its frame, previews while it is made, the placard under it, and what was heard and
// understood. Shows what it is told; asks the server for nothing but the picture itself.

import { byId, element, showText } from "./dom.js";
import { moment, say } from "./words.js";

const DEVELOP_MS = 700;
let hung = null;
let heard = null;

/** Hangs a picture, or none, and says so once it is there. A picture that cannot be fetched is an error of the promise. */
export async function hang(image) {
  hung = image;
  if (!image) return takeDown();
  const next = new Image();
  next.src = image.url;
  await next.decode();
  // another may have been chosen meanwhile
  if (hung?.name !== image.name) return;
  const isNew = byId("picture").getAttribute("src") !== image.url;
  // the very element that is loaded: another with the same address might ask the server again, and show the old meanwhile
  next.id = "picture";
  byId("picture").replaceWith(next);
  frame(next, say("picture_alt", { prompt: image.prompt }), image.width / image.height, "picture");
  showGlow(image.thumbnail);
  showPlacard();
  if (isNew) develop(next);
}

function takeDown() {
  byId("frame").dataset.state = "empty";
  byId("frame").style.removeProperty("--ratio");
  byId("picture").hidden = true;
  byId("empty").hidden = false;
  showGlow(null);
  showPlacard();
}

/** A preview of the picture in the making, in the frame of the one before. */
export function showPreview(source) {
  const ratio = byId("frame").style.getPropertyValue("--ratio") || 1;
  byId("picture").src = source;
  frame(byId("picture"), say("preview_alt"), ratio, "preview");
  showGlow(source);
}

function frame(picture, alt, ratio, state) {
  picture.alt = alt;
  picture.hidden = false;
  byId("empty").hidden = true;
  byId("frame").dataset.state = state;
  byId("frame").style.setProperty("--ratio", ratio);
}

/** The picture's light on the wall. */
function showGlow(source) {
  const glow = byId("glow");
  glow.hidden = !source;
  if (source) glow.src = source;
}

/** A new picture comes up as in a tray of developer, unless motion is unwelcome. */
function develop(picture) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const from = { filter: "blur(18px) saturate(0.4) brightness(1.15)" };
  picture.animate([from, { filter: "none" }], { duration: DEVELOP_MS, easing: "cubic-bezier(0.2, 0.7, 0.2, 1)" });
}

/** What was heard; `language` is that of the speech, so that screen readers say it in that. */
export function showTranscript(text, language) {
  heard = { text, language };
  showPlacard();
}

/** What was understood: `create`, `edit`, `undo` or `none`. */
export function showUnderstood(action, prompt) {
  heard = { ...heard, action, prompt };
  showPlacard();
}

/** What the server did otherwise than asked, in its words. */
export function showNotes(notes) {
  byId("notes").hidden = notes.length === 0;
  byId("notes").replaceChildren(...notes.map((note) => element("li", {}, note)));
}

export function clearHeard() {
  heard = null;
  showNotes([]);
  showPlacard();
}

/** The words of the last command, else of the command that made the picture; then what is to be known of the picture. */
function showPlacard() {
  const image = hung;
  const { text, language, action, prompt } = heard ?? { text: image?.command, action: image?.action, prompt: image?.prompt };
  byId("placard").toggleAttribute("data-empty", !text);
  byId("transcript").textContent = byId("transcript").title = text ?? "";
  byId("transcript").lang = language ?? "";
  byId("understood").dataset.action = action ?? "";
  showText(byId("understood"), action && say(`understood_${action}`, { prompt }));
  byId("understood").title = byId("understood").textContent;
  byId("back").hidden = byId("download").hidden = byId("facts").hidden = !image;
  if (!image) return;
  const facts = [
    say(`facts_${image.action}`, { time: moment(image.created) }),
    say(`mode_${image.mode}`),
    `${image.width} × ${image.height}`,
    say("seed", { seed: image.seed }),
    image.model,
  ];
  byId("facts").replaceChildren(...facts.map((fact) => element("span", {}, fact)));
  const download = byId("download");
  download.href = `${image.url}?download`;
  download.download = image.name;
  download.ariaLabel = say("download_of", { prompt: image.prompt });
}
