/** What `npm run sidecar` can do: the one table of commands and options. */

import { type CommandWords, completionWords, type Program } from '@dvt-relayer/common/cli/words.ts'

export const COMMANDS = {
  doctor: {
    about:
      'look at keys, relayer, nodes, signers and journal, and say what is wrong and what to do; nothing is changed',
    options: {
      json: { type: 'boolean', default: false, about: 'for programs' },
      quick: { type: 'boolean', default: false, about: 'keystores are not decrypted' },
    },
    example: 'npm run sidecar -- doctor',
    more: 'The settings are those of the sidecar, beside which it may run. The exit code is 1 where something is wrong.',
  },
  completion: completionWords('sidecar'),
} as const satisfies Readonly<Record<string, CommandWords>>

export const PROGRAM: Program = { name: 'sidecar', serves: 'sign', commands: COMMANDS }
