/** What is found out about a sidecar's surroundings, in one form for `doctor` and for the summary at start. Nothing secret is in it. */

import type { Finding as FindingOf, Report as ReportOf } from '@dvt-relayer/common/findings.ts'

type Check = 'settings' | 'keys' | 'signer' | 'relayer' | 'consensus' | 'execution' | 'journal' | 'credentials'
export type Finding = FindingOf<Check>
export type Report = ReportOf<Check>
