/** What the parts of a sidecar may ask for. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { Book } from './book.ts'
import type { SidecarConfig } from './config.ts'
import type { Events } from './events.ts'
import type { Health } from './health.ts'
import type { Journal } from './journal.ts'
import type { Keystore } from './keystores/keystore.ts'
import type { ListStates } from './list-states.ts'
import type { ListName } from './lists.ts'
import type { Policy } from './policy.ts'

export interface Context {
  readonly config: SidecarConfig
  readonly keystore: Keystore
  readonly relayer: RelayerClient
  readonly policy: Policy
  readonly journal: Journal
  readonly lists: ListStates
  /** A list that is not followed has an empty one. */
  readonly books: Readonly<Record<ListName, Book>>
  readonly events: Events
  readonly health: Health
}
