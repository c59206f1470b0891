/** What `npm run sidecar` can do: run (no argument), or look at everything and say what is wrong. Each returns an exit code. */

import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { ENV_FILE_READ, type EnvFile, envFileLine, shownEnvFile } from '@dvt-relayer/common/env-file.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { reportText } from '@dvt-relayer/common/findings.ts'
import { createLogger, scrub } from '@dvt-relayer/common/logger.ts'
import { logOthersLines } from '@dvt-relayer/common/others-lines.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { readConfig } from '../config.ts'
import { startSidecar } from '../sidecar.ts'
import { examine } from './doctor.ts'

const USAGE = `usage:
  npm run sidecar                                run
  npm run sidecar -- doctor [--json] [--quick]   look at keys, relayer, nodes, signers and journal, and say what is wrong and
                                                 what to do; nothing is changed. The exit code is 1 where something is wrong
                                                 --json: for programs; --quick: keystores are not decrypted`

/** Runs one command until it ends or `signal` aborts. */
export async function runCommand(
  args: readonly string[],
  environment: Environment,
  signal: AbortSignal,
  envFile?: EnvFile,
): Promise<number> {
  try {
    const [command, ...rest] = args
    if (args.some((arg) => ['help', '--help', '-h'].includes(arg))) {
      console.log(USAGE)
      return 0
    }
    if (envFile?.problem !== undefined) throw envFile.problem
    if (command === undefined) return await run(environment, signal, envFile)
    if (envFile !== undefined) console.error(envFileLine(envFile))
    if (command === 'doctor') return await doctor(rest, environment, signal)
    throw new BootError('USAGE', `there is no command ${command}\n\n${USAGE}`)
  } catch (error) {
    if (signal.aborted) return 0
    process.stderr.write(`${scrub(textOf(error))}\n`)
    return 1
  }
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ((error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) return `${error.message}\n\n${USAGE}`
  return error instanceof BootError ? error.message : (error.stack ?? error.message)
}

async function run(environment: Environment, signal: AbortSignal, envFile: EnvFile | undefined): Promise<number> {
  const { config, warnings } = readConfig(environment)
  const logger = createLogger(config.log)
  using _lines = logOthersLines(logger)
  if (envFile !== undefined) logger.info(shownEnvFile(envFile), ENV_FILE_READ)
  let askedAt = 0
  signal.addEventListener('abort', () => {
    askedAt = performance.now()
  })
  try {
    await using _sidecar = await startSidecar(config, { logger, warnings, signal })
    if (!signal.aborted) await once(signal, 'abort')
  } catch (error) {
    // A boot that is given up fails in one way or another.
    if (!signal.aborted) throw error
  }
  logger.info({ ms: Math.round(performance.now() - askedAt) }, 'sidecar stopped')
  return 0
}

async function doctor(args: readonly string[], environment: Environment, signal: AbortSignal): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
  })
  const onProgress = (line: string) => void process.stderr.write(`${line}\n`)
  const report = await examine(environment, { isQuick: values.quick, onProgress, signal })
  console.log(values.json ? JSON.stringify(report, undefined, 2) : reportText(report))
  return report.healthy ? 0 : 1
}
