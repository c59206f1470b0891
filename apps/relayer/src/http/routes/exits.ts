/** `GET /exits` and `POST /exit-signature`: what sidecars poll and hand in (generation 3). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { answerList } from '../list-answer.ts'

/** Adds the routes. */
export function exitRoutes(bind: Bind, { auth, services, stopping }: ApiContext): void {
  const { lists, signatures } = services

  bind(routes.getExits, (call) => answerList(lists.exits, call, stopping))

  bind(routes.postExitSignature, async ({ body, caller, route }) => {
    const { share_index: shareIndex, shares } = body
    auth.assertShareIndex(caller, shareIndex, route)
    // Fields that generation 3 does not know are left where they are.
    const items = shares.map(({ public_key, exit_signature }) => ({ public_key, exit_signature }))
    const failures = await signatures.submit(shareIndex, items)
    return failures.length === 0 ? {} : { failures }
  })
}
