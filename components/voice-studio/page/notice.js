// The one message over the picture: what went wrong and what to do, or what changed. Owns its element only.

import { byId, showText } from "./dom.js";
import { hasWords, say } from "./words.js";

// what the message says, asked for anew when the language changes
let words = null;

/**
 * Shows what `wanted()` says; `act` is `{ label, run }`, a button that the message brings, its label a key. Kind is `error`
 * or `info`.
 */
export function showNotice(wanted, { kind = "error", act = null } = {}) {
  words = () => {
    byId("notice-text").textContent = wanted();
    showText(byId("notice-act"), act && say(act.label));
  };
  words();
  const notice = byId("notice");
  notice.dataset.kind = kind;
  notice.classList.add("shown");
  byId("notice-act").onclick = act && (() => {
    hideNotice();
    act.run();
  });
}

/** The shown message, if there is one, in the language of now. */
export const sayNoticeAgain = () => words?.();

export function hideNotice() {
  words = null;
  byId("notice").classList.remove("shown");
  byId("notice-text").textContent = "";
  byId("notice-act").hidden = true;
}

/** What an error of the server, of the connection or of the page itself says to the person. */
export function wording(error) {
  const code = error.code ?? "other";
  const message = error.message || code;
  const key = [`error_${code}_${error.field}`, `error_${code}`].find(hasWords);
  return say(key ?? "error_other", { message });
}

/** What the server did otherwise than asked, in the reader's language where there are words for its code. */
export function noteWordings({ notes = [], note_codes: codes = [], image }) {
  const values = { mode: image ? say(`mode_${image.mode}`) : "" };
  return notes.map((text, index) => (hasWords(`note_${codes[index]}`) ? say(`note_${codes[index]}`, values) : text));
}

byId("notice-close").addEventListener("click", hideNotice);
