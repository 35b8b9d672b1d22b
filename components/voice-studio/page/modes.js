// How pictures are made: the three modes, which of them the server has, and why not the others.

import { byId } from "./dom.js";
import { remember, remembered } from "./settings.js";
import { say } from "./words.js";

const radios = () => [...document.querySelectorAll("input[name=mode]")];

/** The chosen mode. */
export const chosenMode = () => radios().find((radio) => radio.checked)?.value ?? "local_fast";

// a longer one than this is for whoever runs the server, and stands where one looks for it
const SHORT = 60;

/** Shows what the server can do. A remembered choice holds while it can be done, and comes back when it can be again. */
export function showModes({ modes, default_mode: standard }) {
  const wanted = remembered("mode");
  const chosen = modes[wanted]?.available ? wanted : standard;
  const reasons = [];
  for (const radio of radios()) {
    const { available = false, reason } = modes[radio.value] ?? {};
    radio.disabled = !available;
    radio.checked = radio.value === chosen;
    const mode = say(`mode_${radio.value}`);
    const why = (text) => say("mode_why", { mode, reason: text });
    // the server's reasons are in English
    const isShort = reason && reason.length <= SHORT && document.documentElement.lang === "en";
    radio.parentElement.title = available ? "" : why(reason ?? say("mode_off"));
    if (!available) reasons.push(why(isShort ? reason : say("mode_off")));
  }
  byId("mode-why").hidden = reasons.length === 0;
  byId("mode-why").textContent = reasons.join(" · ");
}

export function listenForMode() {
  byId("modes").addEventListener("change", () => remember("mode", chosenMode()));
}
