package browser

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
)

// preferences keep Firefox from speaking to anybody but the tests, and from what nobody sees: pages that are prepared for the
// next tab, tabs that slide in, what is kept for the next start, judgements of pages and their languages. The pages of a session share one process: one for
// each tab, as its users have up to eight, costs more than most pages do in it.
const preferences = `
user_pref("accessibility.force_disabled", 1);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.ipProtection.enabled", false);
user_pref("browser.ml.enable", false);
user_pref("browser.newtab.preload", false);
user_pref("browser.newtabpage.enabled", false);
user_pref("browser.region.update.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.search.update", false);
user_pref("browser.sessionstore.interval", 3600000);
user_pref("browser.sessionstore.resume_from_crash", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.startup.page", 0);
user_pref("browser.translations.enable", false);
user_pref("browser.urlbar.formatting.enabled", false);
user_pref("datareporting.healthreport.uploadEnabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("dom.ipc.keepProcessesAlive.web", 1);
user_pref("dom.ipc.processCount", 1);
user_pref("dom.ipc.processPrelaunch.enabled", false);
user_pref("extensions.blocklist.enabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("fission.webContentIsolationStrategy", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("network.trr.mode", 5);
user_pref("places.history.enabled", false);
user_pref("privacy.bounceTrackingProtection.mode", 0);
user_pref("privacy.trackingprotection.enabled", false);
user_pref("security.remote_settings.crlite_filters.enabled", false);
user_pref("security.remote_settings.intermediates.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("signon.rememberSignons", false);
user_pref("toolkit.legacyUserProfileCustomizations.stylesheets", true);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("toolkit.telemetry.unified", false);
user_pref("ui.prefersReducedMotion", 1);
`

// noFrame hides what is around a page, in userChrome.css of a profile: to draw the address of every page, and its tab, takes more of the
// processor than most pages do.
const noFrame = `#navigator-toolbox, #sidebar-main, #sidebar-box, #browser-bottombox { display: none !important }`

// plain switches off the extensions that Firefox brings along. They are told each step of each tab, which takes a tenth of what
// the browser's own process does, and have a process for themselves.
const plain = `ChromeUtils.importESModule("resource://gre/modules/AddonManager.sys.mjs").AddonManager.getAddonsByTypes(["extension"])
	.then(all => Promise.all(all.map(one => one.disable({ allowSystemAddons: true }))))`

// Profiles is a directory for what Prepare makes and Start takes. Where it is empty there is neither.
var Profiles string

// Prepare begins a profile of Firefox in Profiles, if it is not there: what a new one is filled with takes half of each start. Browsers
// started later have copies of it. The error is an ErrMissing if Firefox is not installed.
func Prepare(ctx context.Context) error {
	path, err := findFirefox()
	if err != nil {
		return err
	}
	begun, err := begunProfile(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(begun); err == nil {
		return nil
	}
	if err := os.MkdirAll(Profiles, 0o755); err != nil {
		return err
	}
	profile, err := os.MkdirTemp(Profiles, "begins-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	if err := writeProfile(profile); err != nil {
		return err
	}
	b, err := startFirefoxWith(ctx, path, profile, false)
	if err != nil {
		return err
	}
	err = b.begin(ctx)
	b.Close()
	if err != nil {
		return err
	}
	return os.Rename(profile, begun)
}

// begin has Firefox write into its profile what it writes when it is new.
func (b *firefox) begin(ctx context.Context) error {
	if err := b.inWindow(ctx, plain); err != nil {
		return fmt.Errorf("its extensions are not switched off: %w", err)
	}
	s, err := b.NewSession(ctx)
	if err == nil {
		_, err = s.Open(ctx, "about:blank")
	}
	return err
}

// begunProfile is where the profile of this program, with these preferences, is or would be: another version of Firefox refuses it.
func begunProfile(path string) (dir string, err error) {
	if Profiles == "" {
		return "", os.ErrNotExist
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	program, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	h := fnv.New64()
	fmt.Fprintln(h, path, program.ModTime().UnixNano(), program.Size(), preferences, noFrame, plain)
	return filepath.Join(Profiles, fmt.Sprintf("firefox-%x", h.Sum64())), nil
}

// fillProfile copies the profile that was begun for this program, or writes a new one.
func fillProfile(path, dir string) error {
	begun, err := begunProfile(path)
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(begun))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return writeProfile(dir)
	}
	return err
}

func writeProfile(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "user.js"), []byte(preferences), 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "chrome"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "chrome", "userChrome.css"), []byte(noFrame), 0o600)
}
