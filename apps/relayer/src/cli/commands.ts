/** The commands of `npm run relayer` by name, and what a failure of one of them says. Each returns an exit code. */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { completion } from '@dvt-relayer/common/cli/completion.ts'
import { findAnswer } from '@dvt-relayer/common/cli/words.ts'
import { BootError, CodedError } from '@dvt-relayer/common/errors.ts'
import { type EnvFile, envFileLine } from '@dvt-relayer/common/files/env-file.ts'
import { describeError } from '@dvt-relayer/common/log/logger.ts'
import { seeRunbook } from '@dvt-relayer/common/runbook.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { ClusterLockError } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { DatabaseError, isPassing } from '@dvt-relayer/db/errors.ts'
import type { Overrides } from '../relayer.ts'
import { adoptCopy } from './adopt-copy.ts'
import { bundleCommand } from './air-gap/bundle.ts'
import { takeBundleCommand } from './air-gap/take-bundle.ts'
import { explainCommand } from './explain.ts'
import { checkBackupCommand, doctorCommand } from './look.ts'
import { releaseKeyCommand } from './release-key.ts'
import { rotate } from './rotate/rotate.ts'
import { serve } from './serve.ts'
import { statusCommand } from './status.ts'
import { token } from './token.ts'
import { undoRegisteredCommand } from './undo-registered.ts'
import { type CommandName, PROGRAM, USAGE, usageError } from './usage.ts'
import { voidSealed } from './void-sealed.ts'

/** Is told what to call when the process is asked to stop, and to read its files again. */
type OnSignal = (stop: () => void, reload?: () => void) => void
type Command = (args: readonly string[], environment: Environment, onSignal: OnSignal) => number | Promise<number>

const RUN: Readonly<Record<CommandName, Command>> = {
  token,
  'adopt-copy': adoptCopy,
  doctor: doctorCommand,
  explain: explainCommand,
  status: statusCommand,
  'check-backup': checkBackupCommand,
  bundle: bundleCommand,
  'take-bundle': takeBundleCommand,
  'release-key': releaseKeyCommand,
  rotate,
  'undo-registered': undoRegisteredCommand,
  'void-sealed': voidSealed,
  completion: (args) => completion(PROGRAM, args),
}
/** What these print is the same with every setting. */
const WITHOUT_SETTINGS: readonly (string | undefined)[] = ['token', 'completion']
const isCommand = (name: string | undefined): name is CommandName => name !== undefined && Object.hasOwn(RUN, name)

/** The database could not be reached, or could not work: a supervisor may try again. */
const TRY_AGAIN = 75

/** Runs one command; without a name it serves. */
export async function runCommand(
  args: readonly string[],
  environment: Environment,
  onSignal: OnSignal,
  { envFile, ...overrides }: Overrides & { envFile?: EnvFile | undefined } = {},
): Promise<number> {
  try {
    const [name, ...rest] = args
    const answer = findAnswer(PROGRAM, args, VERSION)
    if (answer !== undefined) {
      console.log(answer)
      return 0
    }
    if (name !== undefined && !isCommand(name)) throw usageError(`there is no command ${name}`)
    if (envFile?.problem !== undefined && !WITHOUT_SETTINGS.includes(name)) throw envFile.problem
    if (name === undefined) return await serve(environment, onSignal, overrides, envFile)
    if (envFile !== undefined && !WITHOUT_SETTINGS.includes(name)) console.error(envFileLine(envFile))
    return await RUN[name](rest, environment, onSignal)
  } catch (error) {
    return explain(error)
  }
}

/** Says what is wrong in plain words, and whether trying again may help. */
function explain(error: unknown): number {
  if (error instanceof CodedError) console.error(`${error.message}${whereOf(error)}`)
  else if ((error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS'))
    console.error(`${(error as Error).message}\n\n${USAGE}`)
  else console.error(JSON.stringify(describeError(error)))
  if (hasSection(error)) process.stderr.write(`${seeRunbook(error.code)}\n`)
  if (error instanceof ChainError || error instanceof BootError) return 1
  return isPassing(error) || (error instanceof CodedError && error.code === 'QUEUE_UNREACHABLE') ? TRY_AGAIN : 1
}

/** Whether the runbook says what to do about it. */
const hasSection = (error: unknown): error is CodedError =>
  error instanceof CodedError &&
  error.code !== 'USAGE' &&
  (error instanceof BootError ||
    error instanceof DatabaseError ||
    error instanceof ClusterLockError ||
    error.code.startsWith('QUEUE_'))

/** Which setting led to a database that does not work. */
function whereOf(error: unknown): string {
  const host = error instanceof DatabaseError ? error.meta['host'] : undefined
  return host === undefined ? '' : ` at ${host} (DATABASE_URL)`
}
