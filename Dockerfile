# The app as an image, for processors:       docker build -t corrcore .
# with CUDA:                                 docker build -t corrcore --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# with further extras:                       docker build -t corrcore --build-arg EXTRAS=auth,ray .
# on this machine, at http://localhost:8501: docker run --rm -p 127.0.0.1:8501:8501 -v corrcore:/cache corrcore
# compose.yaml has the options it is meant to run with, and a proxy.
# tests/drills/image.py runs these very steps where there is no engine.
ARG DEBIAN=bookworm-slim

FROM debian:${DEBIAN} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=auth
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && python3 -m venv /opt/corrcore
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN /opt/corrcore/bin/pip install -c constraints.txt --extra-index-url "$TORCH_INDEX" torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY .streamlit/config.toml .streamlit/
COPY corrcore corrcore
COPY dashboard dashboard
RUN /opt/corrcore/bin/pip install -c constraints.txt ".[$EXTRAS]" \
    && /opt/corrcore/bin/pip uninstall -y pip setuptools \
    && find /opt/corrcore/lib -depth -type d \( -name tests -o -name include -o -path '*/torch/test' \) -exec rm -r {} +

FROM debian:${DEBIAN}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --home-dir /cache --no-create-home corrcore \
    && install -d -o corrcore -g corrcore -m 0700 /cache
COPY --from=build /opt/corrcore /opt/corrcore
ENV PATH=/opt/corrcore/bin:/usr/bin:/bin HOME=/cache CORRCORE_CACHE=/cache STREAMLIT_SERVER_PORT=8501
USER corrcore
WORKDIR /cache
VOLUME /cache
EXPOSE 8501
HEALTHCHECK --start-period=60s --timeout=5s CMD python -c "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=4)" \
    "http://127.0.0.1:${STREAMLIT_SERVER_PORT}/${STREAMLIT_SERVER_BASE_URL_PATH#/}${STREAMLIT_SERVER_BASE_URL_PATH:+/}_stcore/health"
ENTRYPOINT ["corrcore", "app", "--address=0.0.0.0", "--headless"]
