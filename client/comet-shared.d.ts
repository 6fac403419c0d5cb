/** comet.js for pages that are open many times over: those of one session share one event stream. */
export * from "./comet.js";
