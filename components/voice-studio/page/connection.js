// Whether the server can be reached: says that it cannot, asks until it can, and says that. The browser's own word
// ("offline") is only a hint: a server can be away while the network is there.

import * as api from "./api.js";

const ASK_EVERY_MS = 4000;
let isAway = false;
let timer = 0;
let told = { onAway() {}, onBack() {} };

/** `onAway()` is called whenever the server was not reached, `onBack()` when it is there again. */
export function watchConnection(listeners) {
  told = listeners;
  window.addEventListener("offline", away);
  window.addEventListener("online", check);
}

/** Somebody noticed that the server does not answer; told each time, since what was asked for meanwhile was in vain too. */
export function away() {
  if (!isAway) timer = setInterval(check, ASK_EVERY_MS);
  isAway = true;
  told.onAway();
}

/** Asks now, and says whether the server is there; one that answers with an error is. */
export async function check() {
  const isThere = await api.modes().then(() => true, (error) => error.code !== "offline");
  if (isThere && isAway) {
    isAway = false;
    clearInterval(timer);
    told.onBack();
  }
  return isThere;
}
