// Gallery and tree as two tabs of one panel, with the keys that tabs have everywhere.

import { byId } from "./dom.js";

const NAMES = ["gallery", "tree"];

export function listenForTabs() {
  for (const [index, name] of NAMES.entries()) {
    const tab = byId(`tab-${name}`);
    tab.addEventListener("click", () => open(name));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -index, End: NAMES.length - 1 - index }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const next = NAMES.at((index + step) % NAMES.length);
      open(next);
      byId(`tab-${next}`).focus();
    });
  }
}

function open(wanted) {
  for (const name of NAMES) {
    const isOpen = name === wanted;
    byId(name).hidden = !isOpen;
    byId(`tab-${name}`).ariaSelected = String(isOpen);
    byId(`tab-${name}`).tabIndex = isOpen ? 0 : -1;
  }
}
