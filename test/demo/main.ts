/** `npm run demo`: the process only. Signals in, exit code out. */

import { parseArgs } from 'node:util'
import { runDemo } from './demo.ts'

const { values } = parseArgs({
  options: {
    keep: { type: 'boolean', default: false },
    mixed: { type: 'boolean', default: false },
    generation: { type: 'string' },
  },
})
const generations: Partial<Record<string, 3 | 4>> = { '3': 3, '4': 4 }
const generation = generations[values.generation ?? '']
if (values.generation !== undefined && generation === undefined) {
  console.error('--generation is 3 or 4')
  process.exit(1)
}
if (values.mixed && (values.keep || generation === 3)) {
  console.error(
    '--mixed is a story of generation 4 that ends by itself: it goes with neither --keep nor --generation 3',
  )
  process.exit(1)
}
const interrupted = new AbortController()
/** Ctrl-C below npm arrives twice, from the terminal and from npm. */
const SAME_SIGNAL_MS = 1000
let asked: number | undefined
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => {
    asked ??= performance.now()
    // A later one does not wait for a clean end; what runs at exit still leaves nothing behind.
    if (performance.now() - asked > SAME_SIGNAL_MS) process.exit(130)
    interrupted.abort()
  })
// A pipe that is closed at the other end must not keep the demo from cleaning up.
process.stdout.on('error', () => interrupted.abort())
process.exitCode = await runDemo({
  generation: values.mixed ? 4 : generation,
  mixed: values.mixed,
  keep: values.keep,
  print: (line) => console.log(line),
  interrupted: interrupted.signal,
})
