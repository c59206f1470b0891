/** The commands of `npm run sidecar`; without one it runs. Each returns an exit code. */

import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { BUNDLE_EXIT_CODES, BundleError } from '@dvt-relayer/api/bundle.ts'
import { completion } from '@dvt-relayer/common/cli/completion.ts'
import { findAnswer, usageError, usageOf } from '@dvt-relayer/common/cli/words.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { ENV_FILE_READ, type EnvFile, envFileLine, shownEnvFile } from '@dvt-relayer/common/files/env-file.ts'
import { reportText } from '@dvt-relayer/common/findings.ts'
import { createLogger, scrub } from '@dvt-relayer/common/log/logger.ts'
import { logOthersLines } from '@dvt-relayer/common/log/others-lines.ts'
import { seeRunbook } from '@dvt-relayer/common/runbook.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { signBundleCommand } from '../bundle/command.ts'
import { readConfig } from '../config.ts'
import { startSidecar } from '../sidecar.ts'
import { examine } from './doctor.ts'
import { COMMANDS, PROGRAM } from './usage.ts'

/** What else the process has: the file of settings it has read, and what is told `reload` when files shall be read again. */
interface Given {
  envFile?: EnvFile | undefined
  files?: EventTarget | undefined
}

/** Runs one command until it ends or `signal` aborts. */
export async function runCommand(
  args: readonly string[],
  environment: Environment,
  signal: AbortSignal,
  { envFile, files }: Given = {},
): Promise<number> {
  try {
    const [command, ...rest] = args
    const answer = findAnswer(PROGRAM, args, VERSION)
    if (answer !== undefined) {
      console.log(answer)
      return 0
    }
    // What it prints is the same with every setting.
    if (command === 'completion') return completion(PROGRAM, rest)
    if (envFile?.problem !== undefined) throw envFile.problem
    if (command === undefined) return await run(environment, signal, { envFile, files })
    if (envFile !== undefined) console.error(envFileLine(envFile))
    if (command === 'doctor') return await doctor(rest, environment, signal)
    if (command === 'sign-bundle') return await signBundleCommand(rest, environment, signal)
    throw usageError(`there is no command ${command}`, usageOf(PROGRAM))
  } catch (error) {
    if (signal.aborted) return 0
    process.stderr.write(`${scrub(textOf(error))}\n`)
    return error instanceof BundleError ? BUNDLE_EXIT_CODES[error.code] : 1
  }
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ((error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) return `${error.message}\n\n${usageOf(PROGRAM)}`
  if (error instanceof BundleError) return error.message
  if (!(error instanceof BootError)) return error.stack ?? error.message
  return error.code === 'USAGE' ? error.message : `${error.message}\n${seeRunbook(error.code)}`
}

async function run(environment: Environment, signal: AbortSignal, { envFile, files }: Given): Promise<number> {
  const { config, warnings } = readConfig(environment)
  const logger = createLogger(config.log)
  using _lines = logOthersLines(logger)
  if (envFile !== undefined) logger.info(shownEnvFile(envFile), ENV_FILE_READ)
  let askedAt = 0
  signal.addEventListener('abort', () => {
    askedAt = performance.now()
  })
  try {
    await using _sidecar = await startSidecar(config, {
      logger,
      warnings,
      signal,
      ...(files === undefined ? {} : { files }),
    })
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
    options: COMMANDS.doctor.options,
  })
  const onProgress = (line: string) => void process.stderr.write(`${line}\n`)
  const report = await examine(environment, { isQuick: values.quick, onProgress, signal })
  console.log(values.json ? JSON.stringify(report, undefined, 2) : reportText(report))
  return report.healthy ? 0 : 1
}
