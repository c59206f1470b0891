/** The commands of `npm run relayer` by name, and what a failure of one of them says. Each returns an exit code. */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { BootError, CodedError } from '@dvt-relayer/common/errors.ts'
import { describeError } from '@dvt-relayer/common/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { DatabaseError, isPassing } from '@dvt-relayer/db/errors.ts'
import type { Overrides } from '../relayer.ts'
import { completion } from './completion/completion.ts'
import { explainCommand } from './explain.ts'
import { checkBackupCommand, doctorCommand } from './look.ts'
import { releaseKeyCommand } from './release-key.ts'
import { rotate } from './rotate/rotate.ts'
import { serve } from './serve.ts'
import { statusCommand } from './status.ts'
import { token } from './token.ts'
import { undoRegisteredCommand } from './undo-registered.ts'
import { type CommandName, USAGE, usageError, usageOf } from './usage.ts'
import { voidSealed } from './void-sealed.ts'

/** `onSignal` is told what to call when the process is asked to stop. */
type Command = (
  args: readonly string[],
  environment: Environment,
  onSignal: (stop: () => void) => void,
) => number | Promise<number>

const RUN: Readonly<Record<CommandName, Command>> = {
  token,
  doctor: doctorCommand,
  explain: explainCommand,
  status: statusCommand,
  'check-backup': checkBackupCommand,
  'release-key': releaseKeyCommand,
  rotate,
  'undo-registered': undoRegisteredCommand,
  'void-sealed': voidSealed,
  completion,
}
const HELP = ['help', '--help', '-h']
const isCommand = (name: string | undefined): name is CommandName => name !== undefined && Object.hasOwn(RUN, name)

/** The database could not be reached, or could not work: a supervisor may try again. */
const TRY_AGAIN = 75

/** Runs one command; without a name it serves. */
export async function runCommand(
  args: readonly string[],
  environment: Environment,
  onSignal: (stop: () => void) => void,
  overrides: Overrides = {},
): Promise<number> {
  try {
    const [name, ...rest] = args
    if (args.some((arg) => HELP.includes(arg))) {
      const named = args.find((arg) => isCommand(arg))
      console.log(named === undefined ? USAGE : usageOf(named))
      return 0
    }
    if (name === '--version') {
      console.log(VERSION)
      return 0
    }
    if (name === undefined) return await serve(environment, onSignal, overrides)
    if (!isCommand(name)) throw usageError(`there is no command ${name}`)
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
  if (error instanceof ChainError || error instanceof BootError) return 1
  return isPassing(error) || (error instanceof CodedError && error.code === 'QUEUE_UNREACHABLE') ? TRY_AGAIN : 1
}

/** Which setting led to a database that does not work. */
function whereOf(error: unknown): string {
  const host = error instanceof DatabaseError ? error.meta['host'] : undefined
  return host === undefined ? '' : ` at ${host} (DATABASE_URL)`
}
