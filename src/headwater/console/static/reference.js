"use strict";
// Relative to this page, since a proxy may serve Headwater below a path.
const root = new URL(".", location.href);
fetch(new URL("openapi.json", root))
  .then((answer) => answer.json())
  .then((spec) => {
    spec.servers = [{ url: root.href.replace(/\/$/, "") }];
    SwaggerUIBundle({ spec, dom_id: "#reference", deepLinking: true, validatorUrl: null });
  });
