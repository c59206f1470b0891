/** What is found out about a sidecar's surroundings, in one form for `doctor` and for the summary at start. Nothing secret is in it. */

import { type Static, Type } from 'typebox'

const FINDING_CHECKS = [
  'settings',
  'keys',
  'signer',
  'relayer',
  'consensus',
  'execution',
  'journal',
  'credentials',
] as const
/** `unused` is what the settings do not ask for. */
const FINDING_STATUSES = ['good', 'warning', 'problem', 'unused'] as const

const Fact = Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()])
export const Finding = Type.Object({
  check: Type.Enum(FINDING_CHECKS),
  status: Type.Enum(FINDING_STATUSES),
  message: Type.String(),
  /** What else is worth a look, or stands against it; empty as a rule. */
  details: Type.Array(Type.String()),
  facts: Type.Record(Type.String(), Type.Union([Fact, Type.Array(Type.Record(Type.String(), Fact))])),
})
export type Finding = Static<typeof Finding>

/** What `doctor --json` prints. */
export const Report = Type.Object({
  version: Type.Literal(1),
  healthy: Type.Boolean(),
  network: Type.Union([Type.String(), Type.Null()]),
  findings: Type.Array(Finding),
})
export type Report = Static<typeof Report>
