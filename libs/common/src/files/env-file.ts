/**
 * `.env` in the working folder: settings for who starts a program by hand, as Node's `--env-file` and `docker compose` take them. What the
 * environment has already stays. For the `main.ts` of an app, which alone knows environment and folder.
 */

import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { BootError, reasonOf } from '../errors.ts'
import { readTextSync } from './text-file.ts'

/** What was read. Values are nobody's business. */
export interface EnvFile {
  readonly file: string
  /** Variables that it has set. */
  readonly names: readonly string[]
  /** Those that the environment had already. */
  readonly kept: readonly string[]
  /** Why nothing of it counts. */
  readonly problem: BootError | undefined
}

/** What the log says of it. */
export const ENV_FILE_READ = 'settings were read from a file in the working folder'
export const shownEnvFile = ({ file, names, kept }: EnvFile) => ({
  file,
  names,
  ...(kept.length === 0 ? {} : { set_in_the_environment: kept }),
})

/** The same for a command, whose output is its own. */
export const envFileLine = ({ file, names }: EnvFile): string => `${ENV_FILE_READ}: ${file} (${names.join(', ')})`

/** `NAME=value` of one line or, in quotes, of several, with what may stand before and after; as Node reads it. */
const ASSIGNMENT = /^[ \t]*(?:export[ \t]+)?[\w.-]+[ \t]*=[ \t]*(?:'[^']*'|"[^"]*"|`[^`]*`)?[^\n]*/gm

/**
 * Puts the variables of `<folder>/.env` into the environment, where there is such a file. Nothing is set of one that is broken: it cannot be
 * read, or a line of it is neither an assignment nor a comment.
 */
export function loadEnvFile(environment: Record<string, string | undefined>, folder: string): EnvFile | undefined {
  const file = join(folder, '.env')
  let values: Record<string, string | undefined>
  try {
    values = parse(readTextSync(file), file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const problem =
      error instanceof BootError
        ? error
        : new BootError('ENV_FILE_INVALID', `${file} cannot be read (${reasonOf(error)}): mend it, or take it away`)
    return { file, names: [], kept: [], problem }
  }
  const [names, kept]: [string[], string[]] = [[], []]
  for (const [name, value] of Object.entries(values)) {
    if (environment[name] === undefined) {
      environment[name] = value
      names.push(name)
    } else kept.push(name)
  }
  return { file, names, kept, problem: undefined }
}

/** @throws {BootError} ENV_FILE_INVALID naming lines, never what stands in them */
function parse(text: string, file: string): Record<string, string | undefined> {
  const lines = text.replaceAll('\r\n', '\n')
  // What is left of assignments are their line breaks, so that numbers stay.
  const rest = lines.replaceAll(ASSIGNMENT, (assignment) => assignment.replaceAll(/[^\n]/g, ''))
  const broken = rest.split('\n').flatMap((line, position) => (/^\s*(#|$)/.test(line) ? [] : [`line ${position + 1}`]))
  if (broken.length > 0)
    throw new BootError(
      'ENV_FILE_INVALID',
      `${file} is not valid: ${broken.slice(0, 10).join(', ')} is neither NAME=value nor a comment that begins with #`,
    )
  return parseEnv(lines)
}
