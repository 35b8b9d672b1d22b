// Every text of the interface, in English and Finnish, and how they reach the document. Errors are worded here by the
// server's code, so that they say in the reader's language what to do. Knows nothing of the state of the page.

import { english } from "./words-en.js";
import { finnish } from "./words-fi.js";

const DICTIONARIES = { en: english, fi: finnish };
let language = "en";

/** A text by its key, with `{name}` replaced; `key_one` is taken where `n` is 1 and there is one. */
export function say(key, values = {}) {
  const words = DICTIONARIES[language];
  const text = (values.n === 1 && words[`${key}_one`]) || words[key] || key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Whether there is a text of this key: codes of newer servers may have none. */
export const hasWords = (key) => key in english;

/** The examples that a person can press instead of speaking: of new pictures, or of changes. */
export const examples = (kind) => DICTIONARIES[language].examples[kind];

/** Rewrites the whole document in a language. */
export function speak(wanted) {
  language = wanted;
  document.documentElement.lang = wanted;
  document.title = say("title");
  const into = { words: "textContent", wordsLabel: "ariaLabel", wordsPlaceholder: "placeholder" };
  for (const [data, property] of Object.entries(into)) {
    const attribute = data.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    for (const node of document.querySelectorAll(`[data-${attribute}]`)) node[property] = say(node.dataset[data]);
  }
}

/** A prompt as a title. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A moment of the server's (ISO 8601) as a clock reads it, with the date where it was not today. */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return "";
  const today = date.toDateString() === new Date().toDateString();
  const shape = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(language, shape).format(date);
}

/** A duration in milliseconds, roughly, as somebody who waits wants it. */
export function roughly(milliseconds) {
  const seconds = Math.max(1, Math.round(milliseconds / 1000));
  return seconds < 90 ? say("seconds", { n: seconds }) : say("minutes", { n: Math.round(seconds / 60) });
}
