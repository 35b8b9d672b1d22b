// The one message over the picture: what went wrong and what to do, or what changed. Owns its element only.

import { byId, showText } from "./dom.js";
import { hasWords, say } from "./words.js";

/** Shows a message; `act` is `{ label, run }`, a button that the message brings. Kind is `error` or `info`. */
export function showNotice(text, { kind = "error", act = null } = {}) {
  const notice = byId("notice");
  notice.dataset.kind = kind;
  notice.classList.add("shown");
  byId("notice-text").textContent = text;
  const button = byId("notice-act");
  showText(button, act?.label);
  button.onclick = act && (() => {
    hideNotice();
    act.run();
  });
}

export function hideNotice() {
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
