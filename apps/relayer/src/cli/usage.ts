/** What `npm run relayer` can do, in words, and the error of who asks for something else. */

import { ROLES } from '@dvt-relayer/api/contract.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'

export const USAGE = `usage:
  npm run relayer                                          serve
  npm run relayer -- token --name N --role R [--for B]     make a token and its line for AUTH_TOKENS_FILE
                                                           R: ${ROLES.join(', ')}
                                                           B: vaults, share indexes or an oracle, comma separated; all when left out
  npm run relayer -- explain 0x… [--json]                  why the validator of this key is not ready, who has to act, what comes next
  npm run relayer -- release-key --key 0x… --yes           free a key from the vault it is reserved for or bound to
  npm run relayer -- rotate --vault 0x… [--dry-run | --send]
                                                           renew a vault's exit signatures for the oracles in force: print the transaction,
                                                           with --send send it, with --dry-run only say what would be done
  npm run relayer -- undo-registered --key 0x… --yes       take back that a validator is registered, or has left, where no consensus
                                                           node says so
  npm run relayer -- void-sealed --yes                     forget every stored signature, when SEALING_KEY is lost for good`

/** The error of a command that was called wrongly: what is wrong, then the usage. */
export const usageError = (words: string, usage: string = USAGE): BootError =>
  new BootError('USAGE', `${words}\n\n${usage}`)
