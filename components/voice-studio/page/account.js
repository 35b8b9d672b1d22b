// The session: how many pictures were made and are left, and logging in, registering and logging out. Owns the button in the
// header and its dialog; the session itself is the server's.

import * as api from "./api.js";
import { byId, showText } from "./dom.js";
import { wording } from "./notice.js";
import { say } from "./words.js";

/** Shows what the server says of the session. */
export function showSession(session) {
  const { image_count: made, image_limit: limit, images_left: left, logged_in: isIn, name } = session;
  byId("account-count").textContent = isIn ? "" : left;
  byId("account-text").textContent = isIn ? name : say("account_left");
  byId("account").classList.toggle("named", isIn);
  byId("account").ariaLabel = isIn ? say("account_named", { name }) : say("account_label", { n: left });
  const share = limit ? Math.round((100 * left) / limit) : 100;
  byId("ring").setAttribute("stroke-dasharray", `${Math.max(0, share)} 100`);
  byId("account").classList.toggle("low", !isIn && left <= 2);
  byId("made").textContent = made;
  byId("limit").textContent = limit ?? say("no_limit");
  byId("remaining").textContent = left ?? "∞";
  byId("login").hidden = isIn;
  byId("logged-in").hidden = !isIn;
  byId("logged-in-as").textContent = isIn ? say("logged_in_as", { name }) : "";
}

/** Opens the dialog; `limit` is the number of pictures if that many were made and no more can be. */
export function openSession(limit = null) {
  showText(byId("session-limit"), limit === null ? null : say("limit_reached", { n: limit }));
  byId("login-why").hidden = limit !== null;
  byId("login-trouble").textContent = "";
  if (!byId("session").open) byId("session").showModal();
  if (limit !== null) byId("login-name").focus();
}

/** `onSession(session, isIn)` is called after each change; `onClosed()` when the dialog closes. */
export function listenForAccount(onSession, onClosed) {
  const dialog = byId("session");
  byId("account").addEventListener("click", () => openSession());
  byId("session-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", onClosed);
  // a press beside the card
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  const change = (ask) => attempt(async () => onSession(await ask()));
  byId("login").addEventListener("submit", (event) => {
    event.preventDefault();
    const ask = event.submitter === byId("register-go") ? api.register : api.login;
    change(() => ask(byId("login-name").value.trim(), byId("login-password").value));
  });
  byId("logout").addEventListener("click", () => change(api.logout));
}

async function attempt(ask) {
  const buttons = ["login-go", "register-go", "logout"].map(byId);
  byId("login-trouble").textContent = "";
  for (const button of buttons) button.disabled = true;
  try {
    await ask();
    byId("login-password").value = "";
    byId("session").close();
  } catch (error) {
    byId("login-trouble").textContent = wording(error);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}
