/** How threads that compute give way to the event loop. */

import { getPriority, setPriority } from 'node:os'

/**
 * Enough that the event loop goes first, and no more: beside one busy process of the same group a thread still has a fifth of a core. At 19,
 * where a hundredth would be left, a node beside the relayer could keep it from signatures for minutes.
 */
const NICER = 5
const NICEST = 19

/**
 * Has the thread that calls it work at a lower priority than the process, and so the native threads that it starts. On Linux a priority is a
 * thread's own: where cores are short, the event loop answers first. Elsewhere it is the process's, and stays.
 */
export function giveWay(): void {
  if (process.platform === 'linux') setPriority(Math.min(NICEST, getPriority() + NICER))
}
