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
  'sign-bundle': {
    about: 'sign what a bundle of the relayer wants of this node, with nobody asked and nothing sent',
    options: {
      in: { type: 'string', default: '', value: 'FILE', about: 'the bundle' },
      out: { type: 'string', default: '', value: 'FILE', about: 'where to write what was signed' },
    },
    example: 'npm run sidecar -- sign-bundle --in bundle.json --out signed.json',
    more: 'Policy and deposit journal are those of the running sidecar. Exit codes: docs/operating/air-gap.md.',
  },
  completion: completionWords('sidecar'),
} as const satisfies Readonly<Record<string, CommandWords>>

export const PROGRAM: Program = { name: 'sidecar', serves: 'sign', commands: COMMANDS }
