/** What is said while a file does not come: of the model's download, and of one inside a drawing. */

import { roughly } from './numbers.js';

/**
 * @param {{ retryInMs?: number, offline?: true, asked?: true }} progress the library's
 * @returns {string} '' where nothing waits
 */
export function waitText({ retryInMs, offline, asked }) {
  if (offline) return 'waiting for the network';
  if (retryInMs === undefined) return '';
  const again = `trying again in ${roughly(retryInMs / 1000)}`;
  return asked ? `the server asks to wait, ${again}` : again;
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
