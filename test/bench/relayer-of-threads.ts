/** The relayer's process as `main.ts` is, with as many signature threads as the first argument says, whatever cores there are. */

import { endProcess, onSignals } from '@dvt-relayer/common/process/signals.ts'
import { runCommand } from '../../apps/relayer/src/cli/commands.ts'

const [threads, ...args] = process.argv.slice(2)
process.exitCode = await runCommand(args, process.env, onSignals, { threads: Number(threads) })
endProcess()
