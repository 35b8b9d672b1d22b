// The bar under the picture: the red button, and beside it what fits the moment (typing, recording or working). Shows what
// it is told; knows neither the microphone nor the server.

import { byId, element } from "./dom.js";
import { examples, say } from "./words.js";

// what somebody who only listens is told of the progress
const TOLD_PERCENT = [25, 50, 75, 100];
let toldPercent = 0;

/** `idle`, `asking` (for the microphone), `recording` or `working`. */
export function showState(state) {
  const dock = byId("dock");
  const before = dock.dataset.state;
  const focus = document.activeElement;
  dock.dataset.state = state;
  const talk = byId("talk");
  const isOn = state === "recording" || state === "asking";
  talk.ariaLabel = say(isOn ? "talk_stop" : "talk");
  talk.ariaPressed = String(isOn);
  talk.ariaDisabled = String(state === "working");
  byId("frame").ariaBusy = String(state === "working");
  if (state === "working") byId("hint").textContent = "";
  else showHint(isOn ? "hint_recording" : null);
  if (before !== state) moveFocus(state, focus);
}

/** Focus never falls off the page with the part that it was in. */
function moveFocus(state, focus) {
  if (state === "working") {
    toldPercent = 0;
    if (focus?.closest(".slot")) byId("cancel").focus();
  }
  if (state === "idle" && focus?.closest(".slot")) byId("prompt").focus();
}

/** The line under the bar; without a key, how to talk on this device. */
export function showHint(key) {
  const touch = matchMedia("(hover: none) and (pointer: coarse)").matches;
  byId("hint").textContent = say(key ?? (touch ? "hint_touch" : "hint_keys"));
  if (key) announce(say(key));
}

/** What happens now; without `percent` nobody can say how far it is. */
export function showPhase(text, percent = null) {
  const progress = byId("progress");
  if (byId("phase").textContent !== text) byId("phase").textContent = text;
  if (percent === null) {
    progress.removeAttribute("value");
    return announce(text);
  }
  progress.value = percent;
  const reached = TOLD_PERCENT.filter((told) => told <= percent).pop() ?? 0;
  if (reached > toldPercent) announce(say("say_percent", { percent: reached }));
  toldPercent = Math.max(toldPercent, reached);
}

/** Says something to those who listen to the page. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Examples to press: of a first picture, or of what can be done with the present one. */
export function showIdeas(kind, onIdea) {
  const chips = examples(kind).map((text) => element("button", { type: "button", class: "idea", onclick: () => onIdea(text) }, text));
  byId("ideas").replaceChildren(...chips);
}
