/** What the parts of a sidecar may ask for. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { SidecarConfig } from './config.ts'
import type { Events } from './events.ts'
import type { Health } from './health.ts'
import type { Keystore } from './keystores/obol/keystore.ts'
import type { ListStates } from './lists/list-states.ts'
import type { ListName } from './lists/lists.ts'
import type { Book } from './lists/work-list.ts'
import type { Journal } from './policy/journal.ts'
import type { Policy } from './policy/policy.ts'

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
