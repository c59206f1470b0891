/** What the main job works with. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { ListName, SidecarConfig } from '../config.ts'
import type { Events } from '../events.ts'
import type { Health } from '../health.ts'
import type { Keystore } from '../keystores/keystore.ts'
import type { WorkList } from '../lists/work-list.ts'
import type { Journal } from '../policy/journal.ts'
import type { Policy } from '../policy/policy.ts'

export interface SigningParts {
  readonly config: { readonly relayer: Pick<SidecarConfig['relayer'], 'pollIntervalMs'> } & Pick<
    SidecarConfig,
    'consensus'
  >
  readonly keystore: Pick<Keystore, 'isAway' | 'sign'>
  readonly relayer: RelayerClient
  readonly policy: Policy
  readonly journal: Pick<Journal, 'bind' | 'path'>
  /** A list that is not followed has an empty one. */
  readonly workLists: Readonly<Record<ListName, WorkList>>
  readonly events: Events
  readonly health: Health
}
