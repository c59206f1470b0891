/** `npm run relayer -- token`: makes a token, and the line for AUTH_TOKENS_FILE that stands for it. Neither settings nor database are read. */

import { parseArgs } from 'node:util'
import { ROLES } from '@dvt-relayer/api/contract.ts'
import { createToken, TOKEN_NAME } from '../http/auth/tokens.ts'
import { COMMANDS, usageError } from './usage.ts'

/** Runs the command. Returns an exit code. */
export function token(args: readonly string[]): number {
  const { values } = parseArgs({ args: [...args], options: COMMANDS.token.options })
  const role = ROLES.find((candidate) => candidate === values.role)
  if (values.name === undefined || !TOKEN_NAME.test(values.name))
    throw usageError('--name must be 1 to 64 letters, digits, dots, dashes or underscores')
  if (role === undefined) throw usageError(`--role must be one of ${ROLES.join(', ')}`)
  const made = createToken(values.name, role, values.for)
  console.log(`token (shown once, give it to its user):\n${made.token}\n\nline for AUTH_TOKENS_FILE:\n${made.line}`)
  return 0
}
