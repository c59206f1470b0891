/** `GET /validators` and `POST /signatures`: what sidecars poll and hand in (generation 4). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { answerList } from '../list-answer.ts'

/** Adds the routes. */
export function signatureRoutes(bind: Bind, { auth, services, stopping }: ApiContext): void {
  const { lists, signatures } = services

  bind(routes.getValidators, (call) => answerList(lists.validators, call, stopping))

  bind(routes.postSignatures, async ({ body, caller, route }) => {
    const { share_index: shareIndex, shares } = body
    auth.assertShareIndex(caller, shareIndex, route)
    const failures = await signatures.submit(shareIndex, shares)
    return failures.length === 0 ? {} : { failures }
  })
}
