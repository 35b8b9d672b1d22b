// The studio itself: what is known of the session, and what happens when somebody speaks, types or chooses. Everything seen
// is drawn by the modules that it joins; everything that lasts is the server's, so that a reload brings it all back.

import { listenForAccount, openSession, showSession } from "./account.js";
import * as api from "./api.js";
import { away, check, watchConnection } from "./connection.js";
import { announce, showHint, showIdeas, showPhase, showState } from "./dock.js";
import { byId } from "./dom.js";
import { showGallery } from "./gallery.js";
import { listenForSpeech } from "./microphone.js";
import { chosenMode, listenForMode, showModes } from "./modes.js";
import { hideNotice, noteWordings, showNotice, sayNoticeAgain, wording } from "./notice.js";
import { interfaceLanguage, remember, remembered, turnTheme } from "./settings.js";
import { clearHeard, hang, showNotes, showPreview, showTranscript, showUnderstood } from "./stage.js";
import { listenForTabs } from "./tabs.js";
import { showTree } from "./tree.js";
import { roughly, say, speak } from "./words.js";

const studio = {
  images: [],
  current: null,
  session: null,
  modes: null,
  // the running command's AbortController
  running: null,
  // the last command, `{ audio }` or `{ text }`, if it was not carried out and may be if it is sent again
  pending: null,
  // the command that waits for a log-in, which carries it out
  held: null,
};

const find = (name) => studio.images.find((image) => image.name === name) ?? null;

// === what the server knows

/** Reads everything from the server and shows it. */
async function restore() {
  try {
    const [modes, session, gallery] = await Promise.all([api.modes(), api.session(), api.gallery()]);
    Object.assign(studio, { modes, session, images: gallery.images, current: gallery.current });
    show();
    if (!Object.values(modes.modes).some((mode) => mode.available)) showNotice(() => say("no_mode"));
  } catch (error) {
    trouble(error);
  }
}

async function readGallery() {
  const { images, current } = await api.gallery();
  Object.assign(studio, { images, current });
}

/** Shows all that is known; cheap enough to be done after every change. */
function show() {
  if (studio.modes) showModes(studio.modes);
  if (studio.session) showSession(studio.session);
  showGallery(studio.images, studio.current, { onChoose: choose, onRemove: askToRemove });
  showTree(studio.images, studio.current, choose);
  showIdeas(studio.current ? "edit" : "create", (text) => carryOut({ text }));
  document.body.classList.toggle("has-pictures", studio.images.length > 0);
  if (studio.running) return Promise.resolve();
  return hang(find(studio.current)).catch(async () => trouble(new api.Refusal((await check()) ? "picture" : "offline")));
}

// === a command

/** Carries out a spoken or written command, and shows how it goes. */
async function carryOut(what) {
  if (studio.running) return;
  const running = new AbortController();
  Object.assign(studio, { running, pending: null });
  hideNotice();
  clearHeard();
  if (what.text) showTranscript(what.text, "");
  showState("working");
  showPhase(say(what.audio ? "phase_listening" : "phase_reading"));
  const language = remembered("language") ?? "auto";
  try {
    const fields = { ...what, language, mode: chosenMode(), image: studio.current };
    await finish(await api.command(fields, running.signal, showEvent));
  } catch (error) {
    studio.running = null;
    showState("idle");
    await refused(error, what);
  }
}

const EVENTS = {
  transcript: ({ text, language }) => showTranscript(text, language),
  understood({ action, prompt }) {
    showUnderstood(action, prompt);
    showPhase(say("phase_understood"));
  },
  queued({ position, eta_ms: eta }) {
    // the server counts those before this one, people count themselves
    const key = position > 0 ? "phase_queued" : "phase_next";
    showPhase(say(eta ? `${key}_eta` : key, { position: position + 1, time: eta && roughly(eta) }));
  },
  loading: ({ model }) => showPhase(say("phase_loading", { model })),
  progress: ({ step, steps, percent }) => showPhase(say(step < steps ? "phase_drawing" : "phase_finishing", { step, steps }), percent),
  preview: ({ image }) => showPreview(image),
};

function showEvent(name, data) {
  // newer servers may say more
  EVENTS[name]?.(data);
}

async function finish(done) {
  const { action, image, current, session } = done;
  Object.assign(studio, { session, current });
  byId("prompt").value = "";
  // going back brings a picture that hangs already
  if (image && !find(image.name)) studio.images = [image, ...studio.images];
  studio.running = null;
  showState("idle");
  showNotes(noteWordings(done));
  await show();
  if (action === "none") return showNotice(() => say("error_not_understood"), { kind: "info" });
  announce(ending(action, find(current)));
}

function ending(action, picture) {
  if (!picture) return say("say_back_nothing");
  return say(action === "undo" ? "say_back" : "say_ready", { prompt: picture.prompt });
}

/** A command that was not carried out: the person is told what to do, and it is kept where that may carry it out. */
async function refused(error, what) {
  if (error.code === "image_limit") {
    studio.held = what;
    await show();
    return openSession(studio.session?.image_limit ?? 0);
  }
  // what was finished before the connection broke, or what another window did, is there already
  if (["lost", "not_found"].includes(error.code)) await readGallery().catch(() => {});
  await show();
  if (!api.isCancelled(error)) {
    studio.pending = mayHelp(error) ? what : null;
    return trouble(error, studio.pending);
  }
  clearHeard();
  announce(say("say_cancelled"));
}

// trying the same again may help
const AGAIN = ["busy", "failed", "no_backend", "lost", "offline", "other"];
const mayHelp = (error) => AGAIN.includes(error.code ?? "other");

/** Says what went wrong; `again` is the command that can be sent once more, if one can. */
function trouble(error, again = null) {
  if (error.code === "offline") return away();
  // the server answers and the page failed: that belongs into the console as well
  if (!(error instanceof api.Refusal)) console.error(error);
  showNotice(() => wording(error), { act: toRepeat(again) });
}

const toRepeat = (what) => what && { label: "again", run: () => carryOut(what) };

// === choosing and taking down

async function choose(image) {
  if (studio.running) return showHint("hint_working");
  if (image.name === studio.current) return;
  hideNotice();
  clearHeard();
  await change(async () => {
    studio.current = (await api.choose(image.name)).current;
  });
  announce(say("picture_alt", { prompt: image.prompt }));
}

function askToRemove(image) {
  if (studio.running) return showHint("hint_working");
  byId("removal-picture").src = image.thumbnail;
  byId("removal-go").onclick = () => {
    byId("removal").close();
    remove(image);
  };
  byId("removal").showModal();
  byId("removal-keep").focus();
}

async function remove(image) {
  await change(async () => {
    await api.remove(image.name);
    await readGallery();
  });
  announce(say("say_removed", { prompt: image.prompt }));
}

/** A change on the server, then what it led to. A picture that is gone already leaves a gallery that is read anew. */
async function change(ask) {
  try {
    await ask();
  } catch (error) {
    if (error.code === "not_found") await readGallery().catch(() => {});
    trouble(error);
  }
  await show();
}

// === listening

function listen() {
  listenForSpeech({
    canBegin: () => !studio.running,
    onBegin: hideNotice,
    onAudio: (audio) => carryOut({ audio }),
    onNoMicrophone: (reason) => showNotice(() => say(`error_mic_${reason}`)),
  });
  listenForAccount(onSession, () => {
    // a command that waited for a log-in goes with the dialog, its text stays in the field
    if (!studio.session?.logged_in) studio.held = null;
  });
  listenForMode();
  listenForTabs();
  byId("dock").addEventListener("submit", onTyped);
  byId("cancel").addEventListener("click", () => studio.running?.abort());
  byId("back").addEventListener("click", () => carryOut({ text: say("go_back_command") }));
  byId("theme").addEventListener("click", turnTheme);
  byId("language").addEventListener("change", onLanguage);
  byId("removal-keep").addEventListener("click", () => byId("removal").close());
  watchConnection({ onAway, onBack });
  // another tab or device may have changed the gallery meanwhile
  document.addEventListener("visibilitychange", () => document.hidden || studio.running || restore());
}

function onTyped(event) {
  event.preventDefault();
  const text = byId("prompt").value.trim();
  if (text) carryOut({ text });
  else byId("prompt").focus();
}

function onLanguage() {
  remember("language", byId("language").value);
  speak(interfaceLanguage());
  showHint(null);
  showState(byId("dock").dataset.state);
  sayNoticeAgain();
  show();
}

/** After logging in, what the limit held up is carried out. Galleries belong to accounts: everything is read anew. */
async function onSession(session) {
  studio.session = session;
  const { held } = studio;
  studio.held = null;
  await restore();
  if (session.logged_in && held) carryOut(held);
}

function onAway() {
  showNotice(() => say("error_offline"), { act: { label: "check", run: onCheck } });
}

/** Asks once more; the message comes back if there is still no answer. */
async function onCheck() {
  if (!(await check())) onAway();
}

async function onBack() {
  showNotice(() => say("back_online"), { kind: "info", act: toRepeat(studio.pending) });
  if (!studio.running) await restore();
}

byId("language").value = remembered("language") ?? "auto";
speak(interfaceLanguage());
showState("idle");
showIdeas("create", (text) => carryOut({ text }));
listen();
// until now a press of ENTER would have sent the form to nowhere, and the text with it
byId("send").disabled = false;
restore();
