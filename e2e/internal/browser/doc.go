// Package browser drives real browsers, all in one way: a [Browser] has sessions (cookies of their own), a session has
// pages, a page evaluates JavaScript.
//
// Chromium is driven by the Chrome DevTools Protocol, Firefox by WebDriver BiDi, which it speaks itself, WebKitGTK's
// MiniBrowser by WebKitWebDriver, which speaks classic WebDriver. Each is looked for in PATH; [ErrMissing] says how to get
// one that is not there. They need no screen (MiniBrowser draws on an Xvfb), take any certificate, and every page is
// alone in its window, so that no page is hidden behind another.
package browser
