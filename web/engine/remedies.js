/** What a visitor can do about a browser that does not draw, by cause and browser. */

/** WebViews of other apps, which rarely offer WebGPU and often refuse storage. */
const IN_APP = new RegExp(['FBAN|FBAV|Instagram|MicroMessenger|musical_ly|Bytedance|Snapchat',
  '\\bLine/|Pinterest/|LinkedInApp|Twitter|; wv\\)'].join('|'));
const FIRST_CHROME = 113;
const FIRST_CHROME_ANDROID = 121;

const SECURE = 'Open the page over HTTPS, or as http://localhost on the machine that serves it: an '
  + 'address such as http://192.168.0.2 does not count as secure.';
const OWN_BROWSER = 'This is a browser inside another app. Open the page in your own browser: the '
  + 'app\'s menu (⋯ or ⋮) has "Open in browser".';
const APPLE_MOBILE = 'On iPhones and iPads every browser draws with the system\'s engine: update '
  + 'to iOS or iPadOS 26 or later in Settings, General, Software Update.';

/** Each browser's: how it is told from others, and its remedy per cause. The first match counts. */
const BROWSERS = [
  { is: /iPhone|iPad|iPod|FxiOS|CriOS|EdgiOS/, webgpu: () => APPLE_MOBILE,
    adapter: () => `${APPLE_MOBILE} Lockdown Mode turns WebGPU off.` },
  { is: /Firefox\//, webgpu: firefoxWithoutWebGpu, adapter: firefoxWithoutAdapter },
  { is: /(?:Chrome|Chromium)\//, webgpu: chromeWithoutWebGpu, adapter: chromeWithoutAdapter },
  { is: /Safari\//,
    webgpu: () => 'Update to Safari 26 or later: it comes with macOS 26, iOS 26 and iPadOS 26.',
    adapter: () => 'Update to Safari 26 or later. Lockdown Mode turns WebGPU off.' },
];
const ANY = 'Use a current Chrome, Edge, Safari or Firefox.';

const SILENT = 'Wait longer, or close other programs that use the graphics card, and start the '
  + 'browser anew.';

/** Chips that are known to draw wrongly, by the vendor that the browser names. */
const WARNINGS = {
  'img-tec': 'Graphics chips of this kind (Imagination, as in the Pixel 10) have been reported to '
    + 'compute wrongly in browsers: what they draw is checked, and refused if it is wrong.',
};

/** @returns {string} a sentence about a device of this vendor, or '' */
export function warningFor(vendor) {
  return WARNINGS[vendor] ?? '';
}

/**
 * @param {'insecure' | 'webgpu' | 'adapter' | 'failed' | 'silent'} cause the page is not secure,
 *   the browser has no WebGPU, or it has but found no adapter, failed in looking for one, or did not
 *   come to an end
 * @param {string} userAgent
 * @returns {string} sentences
 */
export function remedyFor(cause, userAgent) {
  if (cause === 'insecure') return SECURE;
  if (cause === 'silent') return SILENT;
  if (IN_APP.test(userAgent)) return OWN_BROWSER;
  const browser = BROWSERS.find(({ is }) => is.test(userAgent));
  return browser ? browser[cause === 'webgpu' ? 'webgpu' : 'adapter'](userAgent) : ANY;
}

function firefoxWithoutWebGpu(userAgent) {
  if (/Android/.test(userAgent)) {
    return 'Firefox for Android does not offer WebGPU yet: open the page in Chrome.';
  }
  if (/Linux|X11/.test(userAgent)) {
    return 'In about:config set dom.webgpu.enabled to true and restart Firefox, or use Chrome.';
  }
  return 'Update Firefox to version 141 (Windows) or 145 (macOS) or later.';
}

function firefoxWithoutAdapter(userAgent) {
  const why = 'The section "Graphics" of about:support says why. Update the graphics driver';
  return /Linux|X11/.test(userAgent)
    ? `${why}, or set gfx.webgpu.ignore-blocklist to true in about:config.`
    : `${why} and Firefox, and turn on hardware acceleration in its settings.`;
}

function chromeWithoutWebGpu(userAgent) {
  const version = Number(/(?:Chrome|Chromium)\/(\d+)/.exec(userAgent)[1]);
  const android = /Android/.test(userAgent);
  const first = android ? FIRST_CHROME_ANDROID : FIRST_CHROME;
  if (version < first) {
    return `Update the browser: it is built on Chromium ${version}, WebGPU came with ${first}.`;
  }
  if (android) return 'WebGPU needs Android 12 or later. Update Android and the browser.';
  return chromeWithoutAdapter(userAgent);
}

function chromeWithoutAdapter(userAgent) {
  const page = /Edg\//.test(userAgent) ? 'edge://gpu' : 'chrome://gpu';
  if (/Android/.test(userAgent)) {
    return `Update Android and the browser; ${page} says whether this phone's graphics chip is `
      + 'supported.';
  }
  if (/CrOS/.test(userAgent)) return `Update ChromeOS; ${page} says what is missing.`;
  if (/Linux|X11/.test(userAgent)) {
    return `Update the browser and the graphics driver, look at ${page}, or start it with `
      + '--enable-unsafe-webgpu --enable-features=Vulkan.';
  }
  return 'Update the browser, turn on hardware (graphics) acceleration in its settings, and look '
    + `at ${page}.`;
}
