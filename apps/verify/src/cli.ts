/** From a command line to words and an exit code. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { type Outcome, runCommand } from './commands.ts'
import { InputError } from './errors.ts'
import { createReadFile } from './input.ts'
import { commandHelp, isCommand, parseOptions, programHelp } from './options.ts'
import type { SignedExit } from './read.ts'

export interface Io {
  stdin: AsyncIterable<Uint8Array>
  stdout(text: string): void
  stderr(text: string): void
}

/** The beacon API's `SignedVoluntaryExit`. */
const signedExitJson = ({ epoch, validatorIndex, signature }: SignedExit) => ({
  message: { epoch: String(epoch), validator_index: String(validatorIndex) },
  signature: toHex(signature),
})

/** What a person reads. With an exit to print, that alone goes to standard output. */
function printText({ report, exit }: Outcome, io: Io): void {
  const facts = Object.entries(report.facts).map(
    ([name, value]) => `  ${name}: ${typeof value === 'object' && value !== null ? JSON.stringify(value) : value}\n`,
  )
  const words = `${report.verdict}: ${report.message}\n${facts.join('')}`
  if (exit === undefined) io.stdout(words)
  else {
    io.stderr(words)
    io.stdout(`${JSON.stringify(signedExitJson(exit))}\n`)
  }
}

function printJson({ report, exit }: Outcome, io: Io): void {
  const answer = exit === undefined ? report : { ...report, exit: signedExitJson(exit) }
  io.stdout(`${JSON.stringify(answer, null, 2)}\n`)
}

const seeHelp = (command: string, message: string): string =>
  message.includes('--help') ? '' : `see dvt-verify ${command} --help\n`

/** Runs a command line. Exit code: 0 the verdict is ok, 1 it is another one, 2 wrong options or unreadable input. */
export async function runVerify(args: readonly string[], io: Io): Promise<0 | 1 | 2> {
  const [command, ...rest] = args
  if (!isCommand(command)) {
    const isAsked = command === '--help' || command === '-h' || command === 'help'
    const out = isAsked ? io.stdout : io.stderr
    out(programHelp())
    return isAsked ? 0 : 2
  }
  try {
    const options = parseOptions(command, rest)
    if (options.help === true) {
      io.stdout(commandHelp(command))
      return 0
    }
    const outcome = await runCommand(command, options, createReadFile(io.stdin))
    if (options.json === true) printJson(outcome, io)
    else printText(outcome, io)
    return outcome.report.verdict === 'ok' ? 0 : 1
  } catch (error) {
    // Whatever else is thrown is a fault of this program: it is no verdict either.
    const [verdict, message] = error instanceof InputError ? [error.code, error.message] : ['internal', String(error)]
    if (rest.includes('--json')) io.stdout(`${JSON.stringify({ verdict, message, facts: {} }, null, 2)}\n`)
    else io.stderr(`${verdict}: ${message}\n${verdict === 'usage' ? seeHelp(command, message) : ''}`)
    return 2
  }
}
