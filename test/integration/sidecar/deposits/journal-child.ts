/** A process with a deposit journal, for the journal's tests: binds batches of made-up validators and says what came of each. */

import { createJournal } from '../../../../apps/sidecar/src/policy/journal.ts'

const [file = '', ...batches] = process.argv.slice(2)
const nothing = () => undefined
const journal = createJournal(file, {
  journalOpened: nothing,
  journalRepaired: nothing,
  journalTaken: nothing,
  keysBound: nothing,
})
const vault = `0x${'11'.repeat(20)}`
let made = 0

/** `hold`: keep the journal open until the process is ended. */
for (const batch of batches) {
  if (batch === 'hold') {
    process.stdout.write('holding\n')
    setInterval(nothing, 60_000)
    continue
  }
  const wanted = Array.from({ length: Number(batch) }, () => ({
    publicKey: `0x${(++made).toString(16).padStart(96, '0')}`,
    vault,
  }))
  try {
    await journal.bind(wanted)
    process.stdout.write(`bound ${wanted.length}\n`)
  } catch (error) {
    process.stdout.write(`${(error as { code: string }).code} ${(error as Error).message}\n`)
  }
}
