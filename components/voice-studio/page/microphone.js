// A spoken command from the first touch of the key to the recording: opens the microphone, shows the level, ends, discards.
// Joins hold.js, recorder.js and meter.js; what becomes of a recording is the caller's.

import { announce, showHint, showState } from "./dock.js";
import { byId } from "./dom.js";
import { listenForHold } from "./hold.js";
import { showLevels } from "./meter.js";
import { NoMicrophone, Recorder } from "./recorder.js";
import { say } from "./words.js";

// shorter is a slip of the finger
const SHORTEST_MS = 350;

/**
 * Listens for spoken commands. `canBegin()` says whether one may come now, `onBegin()` that one begins, `onAudio(blob)`
 * brings it, and `onNoMicrophone(reason)` says why there is none.
 */
export function listenForSpeech({ canBegin, onBegin, onAudio, onNoMicrophone }) {
  const recorder = new Recorder();
  // off, asking (the microphone is not open yet), or on
  let state = "off";
  let stopMeter = () => {};
  const set = (next, shown) => {
    state = next;
    showState(shown);
  };
  const start = () => {
    set("on", "recording");
    recorder.start(() => talk.end());
    stopMeter = showLevels(() => recorder.level(), () => recorder.elapsed());
    announce(say("say_recording"));
  };
  const stop = async () => {
    stopMeter();
    set("off", "idle");
    return recorder.stop();
  };
  const talk = {
    isOn: () => state !== "off",
    async begin() {
      if (!canBegin()) return;
      onBegin();
      set("asking", "asking");
      await opened(recorder, onNoMicrophone, () => state === "asking", start, () => set("off", "idle"));
    },
    async end() {
      // let go while the browser still asks: the recording begins with the next hold
      if (state === "asking") set("off", "idle");
      if (state !== "on") return;
      const { audio, milliseconds } = await stop();
      if (milliseconds < SHORTEST_MS) showHint("hint_too_short");
      else onAudio(audio);
    },
    async discard() {
      if (state === "on") await stop();
      else set("off", "idle");
      announce(say("say_discarded"));
    },
  };
  byId("discard").addEventListener("click", () => talk.discard());
  listenForHold(byId("talk"), talk);
}

/** Opens the microphone, then starts if it is still wanted. */
async function opened(recorder, onNoMicrophone, isWanted, start, giveUp) {
  try {
    await recorder.open();
    if (isWanted()) return start();
    recorder.rest();
    showHint("hint_ready");
  } catch (error) {
    giveUp();
    onNoMicrophone(error instanceof NoMicrophone ? error.reason : "busy");
  }
}
