/** The relayer's process as `main.ts` is, but that its background work comes around many times a second, and that requests are patient. */

import { endProcess, onSignals } from '@dvt-relayer/common/process/signals.ts'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { QUICK_MS, REQUEST_PATIENCE_MS } from './quick.ts'

process.exitCode = await runCommand(process.argv.slice(2), process.env, onSignals, {
  intervalsMs: QUICK_MS,
  patienceMs: REQUEST_PATIENCE_MS,
})
endProcess()
