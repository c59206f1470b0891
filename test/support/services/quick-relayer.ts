/** The relayer's process as `main.ts` is, but that its background work comes around many times a second. */

import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { QUICK_MS } from './quick.ts'

process.exitCode = await runCommand(
  process.argv.slice(2),
  process.env,
  (stop) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, stop)
  },
  { intervalsMs: QUICK_MS },
)
// All is released by now; a request that still waits for a node that is away must not keep the process.
setTimeout(() => process.exit(), 1000).unref()
