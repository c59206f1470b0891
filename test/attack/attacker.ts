/** The process of one attack. It gives way to all others: what it takes of the machine's CPU is no fault of who it attacks. */

import { setPriority } from 'node:os'
import type { Scene } from './attack.ts'
import { ATTACKS } from './attacks.ts'

/** What its parent says. */
export type ToAttacker = { set: string } | { begin: Scene } | { tell: true }
/** What it says to its parent. */
export type FromAttacker = { url: string } | { underWay: true } | { answers: Record<string, number> }

setPriority(10)
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
