/** What the parts of a sidecar may ask for. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { SidecarConfig } from './config.ts'
import type { Events } from './events.ts'
import type { ExitBook } from './exit-book.ts'
import type { Health } from './health.ts'
import type { Keystore } from './keystores/keystore.ts'
import type { Policy } from './policy.ts'

export interface Context {
  readonly config: SidecarConfig
  readonly keystore: Keystore
  readonly relayer: RelayerClient
  readonly policy: Policy
  readonly book: ExitBook
  readonly events: Events
  readonly health: Health
}
