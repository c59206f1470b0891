/**
 * The process of one attack. It gives way to all others: an attacker in the world has a machine of its own, and what this one takes of the
 * CPU here is no fault of who it attacks.
 */

import { readdirSync } from 'node:fs'
import { constants, getPriority, platform, setPriority } from 'node:os'
import type { Scene } from './attack.ts'
import { ATTACKS } from './attacks.ts'

/** What its parent says. */
export type ToAttacker = { set: string } | { begin: Scene } | { tell: true }
/** What it says to its parent. */
export type FromAttacker = { url: string } | { underWay: true } | { answers: Record<string, number> }

// Below who is attacked, who may have given way already: started with nice, as this is.
const LOWEST = 19
const priority = Math.min(LOWEST, getPriority() + constants.priority.PRIORITY_LOW)
// On Linux a priority is a thread's own, and Node has started some already, which collect this process's garbage.
const threads = platform() === 'linux' ? readdirSync('/proc/self/task').map(Number) : [0]
for (const thread of threads)
  try {
    setPriority(thread, priority)
  } catch {
    // It has ended since.
  }
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
