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
export function listenForSpeech(told) {
  const speech = new Speech(told);
  byId("discard").addEventListener("click", () => speech.discard());
  listenForHold(byId("talk"), speech);
}

class Speech {
  #recorder = new Recorder();
  // off, asking (the microphone is not open yet), or on
  #state = "off";
  #stopMeter = () => {};
  #told;

  constructor(told) {
    this.#told = told;
  }

  isOn() {
    return this.#state !== "off";
  }

  async begin() {
    if (!this.#told.canBegin()) return;
    this.#told.onBegin();
    this.#become("asking", "asking");
    try {
      await this.#recorder.open();
      if (this.#state === "asking") return this.#start();
      // let go while the browser still asked: the next hold records at once
      this.#recorder.rest();
      showHint("hint_ready");
    } catch (error) {
      this.#become("off", "idle");
      this.#told.onNoMicrophone(error instanceof NoMicrophone ? error.reason : "busy");
    }
  }

  async end() {
    if (this.#state === "asking") this.#become("off", "idle");
    if (this.#state !== "on") return;
    const { audio, milliseconds } = await this.#stop();
    if (milliseconds < SHORTEST_MS) showHint("hint_too_short");
    else this.#told.onAudio(audio);
  }

  async discard() {
    if (this.#state === "on") await this.#stop();
    else this.#become("off", "idle");
    announce(say("say_discarded"));
  }

  #start() {
    this.#recorder.start(() => this.end());
    this.#become("on", "recording");
    this.#stopMeter = showLevels(() => this.#recorder.level(), () => this.#recorder.elapsed());
    announce(say("say_recording"));
  }

  async #stop() {
    this.#stopMeter();
    this.#become("off", "idle");
    return this.#recorder.stop();
  }

  #become(state, shown) {
    this.#state = state;
    showState(shown);
  }
}
