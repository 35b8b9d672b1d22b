// Push-to-talk as a gesture: holding SPACE anywhere, holding the button with a finger or a pointer, or, for those who cannot
// hold, pressing ENTER on the button (or a screen reader's press) to begin and again to end. Knows nothing of recording.

// in these, SPACE means something else
const TYPES_SPACE = "input:not([type=radio]), textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "button, a, summary, input, [role=treeitem]";

/**
 * Listens for the gesture. `talk` has `begin()`, `end()`, `discard()` and `isOn()`; each is called once per gesture.
 */
export function listenForHold(button, talk) {
  let held = null;
  const begin = (by) => {
    if (talk.isOn()) return;
    held = by;
    talk.begin();
  };
  const end = (by) => {
    if (held !== by) return;
    held = null;
    talk.end();
  };
  const letGo = () => {
    held = null;
    if (talk.isOn()) talk.end();
  };
  listenForKeys(button, talk, begin, end, () => (held = null));
  listenForPointer(button, begin, end);
  letPointersGo();
  // a press without a pointer: ENTER, or a screen reader's
  button.addEventListener("click", (event) => {
    if (event.detail !== 0) return;
    if (talk.isOn()) letGo();
    else begin("press");
  });
  // the key's end is told to another window then
  window.addEventListener("blur", letGo);
  document.addEventListener("visibilitychange", () => document.hidden && letGo());
}

function listenForKeys(button, talk, begin, end, forget) {
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && talk.isOn()) {
      event.preventDefault();
      forget();
      talk.discard();
    }
    if (event.code !== "Space" || !meansTalk(event, button)) return;
    // the page would scroll, and the button would be pressed as well
    event.preventDefault();
    if (!event.repeat) begin("space");
  });
  window.addEventListener("keyup", (event) => {
    if (event.code !== "Space") return;
    if (event.target === button) event.preventDefault();
    end("space");
  });
}

function meansTalk(event, button) {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return false;
  const target = event.target instanceof Element ? event.target : document.body;
  // focus stays a moment in a dialog that was closed
  if (target === button || target.closest("dialog")) return true;
  // no command begins with a space: after a written one the focus is here, and the next may be spoken
  if (target.id === "prompt" && target.value === "") return true;
  return !target.closest(TYPES_SPACE) && !target.closest(PRESSED_BY_SPACE);
}

function listenForPointer(button, begin, end) {
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    // the end belongs to the button even if the finger slides off it
    button.setPointerCapture(event.pointerId);
    begin("pointer");
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(name, () => end("pointer"));
  }
  // a long touch would open a menu
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

/** SPACE would press again what a pointer pressed last, instead of talking. Who uses keys keeps their place. */
function letPointersGo() {
  let byPointer = false;
  const letGo = () => document.querySelector("dialog[open]") || document.activeElement?.blur?.();
  document.addEventListener("pointerdown", () => (byPointer = true), { capture: true });
  document.addEventListener("keydown", () => (byPointer = false), { capture: true });
  // first of all: a dialog that the press opens gives focus back to where it was
  document.addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.closest("button, a, .segments label, [role=treeitem]")) letGo();
  }, { capture: true });
  document.addEventListener("change", (event) => {
    if (byPointer && event.target.matches("select, [type=radio]")) letGo();
  });
}
