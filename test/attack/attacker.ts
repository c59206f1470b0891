/**
 * The process of one attack. It gives way to all others: an attacker in the world has a machine of its own, and what this one takes of the
 * CPU here is no fault of who it attacks.
 */

import { spawnSync } from 'node:child_process'
import { constants, getPriority, setPriority } from 'node:os'
import type { Scene } from './attack.ts'
import { ATTACKS } from './attacks.ts'

/** What its parent says. */
export type ToAttacker = { set: string } | { begin: Scene } | { tell: true }
/** What it says to its parent. */
export type FromAttacker = { url: string } | { underWay: true } | { answers: Record<string, number> }

giveWay()
let attack = ATTACKS[0]
const answers: Record<string, number> = {}
const say = (message: FromAttacker) => process.send?.(message)

process.on('message', async (message: ToAttacker) => {
  if ('set' in message) {
    attack = ATTACKS.find(({ id }) => id === message.set)
    say({ url: (await attack?.setUp?.()) ?? '' })
  } else if ('begin' in message) {
    await attack?.run(message.begin, (answer) => {
      answers[answer] = (answers[answer] ?? 0) + 1
    })
    say({ underWay: true })
  } else say({ answers })
})
process.on('disconnect', () => process.exit())

/**
 * Has this process run when nobody else wants to: on Linux by a policy of its own, since one of the lowest priority keeps its core for some
 * milliseconds when another wakes up. Where there is no `chrt`, by that priority.
 */
function giveWay(): void {
  // Of each thread: Node has started some already, which collect this process's garbage.
  const { status } = spawnSync('chrt', ['--all-tasks', '--idle', '--pid', '0', String(process.pid)])
  // Below who is attacked, who may have given way already: started with nice, as this is.
  const lowest = 19
  if (status !== 0) setPriority(Math.min(lowest, getPriority() + constants.priority.PRIORITY_LOW))
}
