/** The process: environment in, signals in, exit code out. */

import { loadEnvFile } from '@dvt-relayer/common/files/env-file.ts'
import { keepCompiled } from '@dvt-relayer/common/process/compile-cache.ts'
import { endProcess, onSignals } from '@dvt-relayer/common/process/signals.ts'

const envFile = loadEnvFile(process.env, process.cwd())
keepCompiled(process.env)
const { runCommand } = await import('./cli/commands.ts')

process.exitCode = await runCommand(process.argv.slice(2), process.env, onSignals, { envFile })
endProcess()
