/**
 * Light, dark, or as the system is. dark.css holds the dark colours and applies by its media query;
 * this file answers the query for the visitor, before the page is first painted.
 */

import { readSettings } from './settings.js';

export const THEMES = ['system', 'light', 'dark'];

/** @param {'system' | 'light' | 'dark'} theme */
export function applyTheme(theme) {
  for (const element of /** @type {NodeListOf<HTMLLinkElement>} */ (
    document.querySelectorAll('[data-scheme]'))) {
    const { scheme } = element.dataset;
    const answer = theme === scheme ? 'all' : 'not all';
    element.media = theme === 'system' ? `(prefers-color-scheme: ${scheme})` : answer;
  }
}

/** @returns {'system' | 'light' | 'dark'} as chosen earlier */
export function chosenTheme() {
  const { theme } = readSettings();
  return THEMES.includes(theme) ? theme : 'system';
}

applyTheme(chosenTheme());
