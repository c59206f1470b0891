import type { Attack } from './attack.ts'
import { connections } from './attacks/connections.ts'
import { foreignKeys } from './attacks/foreign-keys.ts'
import { garbagePoints, garbageShares } from './attacks/garbage.ts'
import { hostileRelayer } from './attacks/hostile-relayer.ts'
import { claims, idlePosts } from './attacks/idle-posts.ts'
import { lateFaults } from './attacks/late-faults.ts'
import { permutations } from './attacks/permutations.ts'
import { refusals } from './attacks/refusals.ts'
import { shareIndexes } from './attacks/share-indexes.ts'
import { smallBodies } from './attacks/small-bodies.ts'
import { strangers } from './attacks/strangers.ts'
import { unreadLists } from './attacks/unread-lists.ts'

/** All attacks, in the order in which they run; the last one leaves a list that is large for those after it. */
export const ATTACKS: readonly Attack[] = [
  idlePosts,
  smallBodies,
  garbageShares,
  connections,
  strangers,
  claims,
  shareIndexes,
  hostileRelayer,
  garbagePoints,
  foreignKeys,
  permutations,
  refusals,
  lateFaults,
  unreadLists,
]
