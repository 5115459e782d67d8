/** What the library and the pages allow alike. */

/** Steps of one picture; export/families/call.py refuses models that say more. */
export const MAX_STEPS = 50;
